"""The parts of `architectures.py`: what is exported, how, how it is judged, and the table."""
