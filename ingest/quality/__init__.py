"""Quality control: figures of units and sessions, and rules that leave some out."""
