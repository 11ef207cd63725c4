"""What a head's score is read against: decoders without a pretrained model."""
