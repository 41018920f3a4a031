"""The same stages on a Ray cluster: matching, and embedding for evaluation.

    items -> one reader -> actors, each with its models -> results in the items' order -> the driver

`session` joins or starts Ray, `flow` streams items over actors, `matching` computes the shards of a pairs table there,
`embedding` embeds images and texts. Needs `fastgoal[cluster]`.
"""

from fastgoal.cluster.embedding import ImageBatch, OnCluster, embed_image_batches, embed_text_batches, on_cluster
from fastgoal.cluster.flow import over_actors
from fastgoal.cluster.matching import RayEngine
from fastgoal.cluster.session import Cluster, joined

__all__ = [
    "Cluster",
    "ImageBatch",
    "OnCluster",
    "RayEngine",
    "embed_image_batches",
    "embed_text_batches",
    "joined",
    "on_cluster",
    "over_actors",
]
