"""The results page: one static HTML file that opens offline."""
