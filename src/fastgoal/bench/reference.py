"""The obvious way of doing each stage, for benchmarks to compare with; nothing but `bench` imports it.

Written from a description of how GOAL's released code works (no line of it was seen here), with its costs and without
its mistakes where a mistake costs no time.

Shapes: B samples, T tokens, P patches, W tower width, D joint dimensions, Q queries, N items.
"""
