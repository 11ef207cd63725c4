"""Pack a pretrained model as a folder to share: weights, licence, and a card with its data and figures."""
