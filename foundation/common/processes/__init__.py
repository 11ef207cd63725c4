"""This process and those that it starts: environment, signals, compiled loops, Ray."""
