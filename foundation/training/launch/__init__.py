"""Starting the processes of a run, on this machine or over ssh, and stopping them."""
