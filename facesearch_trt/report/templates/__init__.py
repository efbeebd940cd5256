"""Templates of the report and the web pages."""
