"""The DeepSpeed engine and the processes that train together."""
