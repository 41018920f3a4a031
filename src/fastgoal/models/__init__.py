"""Models: the dual encoder, its text positions, and captions as tokens."""
