"""Styles and scripts of the report and the web pages."""
