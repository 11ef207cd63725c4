"""The report: scores as text, pictures and one HTML page."""
