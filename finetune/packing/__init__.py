"""A pretrained model as a folder to ship or to push: weights, licence, and a card with its data and figures."""
