"""Content of a model's folder: names of weights, preprocessing, and checks before anything is built."""
