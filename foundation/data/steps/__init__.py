"""Plans that draw the windows of each step, equal for any number of processes."""
