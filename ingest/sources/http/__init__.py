"""Remote files over HTTP: downloaded whole or streamed by ranges."""
