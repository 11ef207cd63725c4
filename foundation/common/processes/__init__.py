"""This process and its children: environment, signals, compiled loops, Ray."""
