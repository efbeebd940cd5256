"""For `python setup.py develop`; everything is in setup.cfg."""

from setuptools import setup

setup()
