"""How each sentence of a query is met in the images that were found: by their best regions.

Shapes: H hits, R regions of all of them, S sentences, D joint dimensions.
"""

from collections.abc import Sequence

import numpy as np

from fastgoal.data.samples import Span
from fastgoal.search.hits import Met
from fastgoal.search.stores import Floats
from fastgoal.search.tables import Table, vectors_of


def meet(
    images: Table, regions: Table, keys: Sequence[int], spans: Sequence[Span], sentence_SD: Floats
) -> list[tuple[Met, ...]]:
    """For each hit, what every sentence finds in it: its best region, or the whole image where it has none.

    Args:
        keys: of the hits. spans: of the sentences in the query.

    Raises:
        DataError: the tables cannot be read.
    """
    own = regions.with_keys(keys, ["key", "box", "vector"])
    key_R, boxes = own.column("key").to_numpy(), own.column("box").to_pylist()
    sim_RS = vectors_of(own, sentence_SD.shape[1]) @ sentence_SD.T
    whole = images.with_keys(keys, ["key", "vector"])
    row_of = {key: row for row, key in enumerate(whole.column("key").to_pylist())}
    sim_HS = vectors_of(whole, sentence_SD.shape[1])[[row_of[key] for key in keys]] @ sentence_SD.T
    found = []
    for hit, key in enumerate(keys):
        own_R = np.flatnonzero(key_R == key)
        if not len(own_R):
            met = [Met(span=span, score=float(sim_HS[hit, s]), box=None) for s, span in enumerate(spans)]
        else:
            best_S = own_R[sim_RS[own_R].argmax(axis=0)]
            met = [
                Met(span=span, score=float(sim_RS[row, s]), box=tuple(boxes[row]))
                for s, (span, row) in enumerate(zip(spans, best_S.tolist(), strict=True))
            ]
        found.append(tuple(met))
    return found
