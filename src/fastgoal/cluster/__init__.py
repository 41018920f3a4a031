"""The same stages on a Ray cluster: matching, and embedding for evaluation.

    items, drawn by the driver -> actors, each with its models -> results in the items' order -> the driver

`session` joins or starts Ray, `flow` streams items over actors, `matching` computes the shards of a pairs table there,
`embedding` embeds images and texts. Needs `fastgoal[cluster]`.

Nothing is imported here: an actor starts with what its own work needs.
"""
