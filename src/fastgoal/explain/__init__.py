"""Explain: what in an image a model looks at, which part of it each sentence means, and which words carry a match."""
