"""Quality control: metrics of units and sessions, and rules that drop units."""
