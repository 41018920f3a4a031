"""How the best weights of a run are told from the others: retrieval at rank 1 on held-out samples, both ways.

Deliberately small: no protocol, no intervals, no report. `evaluation` measures what is published; this only ranks the
weights of one run, on whole images and whole captions, whatever the method trains on.

Shapes: I images, Q captions, D joint dimensions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgoal.data.views import Pixels
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import DataError
from fastgoal.files import shown_name
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsRow, PairsTable
from fastgoal.training.batches import Views

Validate = Callable[[DualEncoder], float]
"""Scores an encoder; higher is better."""
BLOCK = 1024


@dataclass(frozen=True)
class RetrievalValidation:
    """Mean of text-to-image and image-to-text R@1 on a pairs table, in percent; a `Validate`.

    Several captions of one image count as one image with several right answers. Decoded views stay in memory within
    the budget.
    """

    rows: Sequence[PairsRow]
    views: Views
    batch_size: int = 64
    name: str = "held-out samples"

    @classmethod
    def of(
        cls, table: PairsTable, encoder: DualEncoder, budget: int, batch_size: int = 64, *, exact: bool = False
    ) -> "RetrievalValidation":
        rows = [row for row in table if row.skip is None]
        if not rows:
            raise DataError("no usable sample to validate on", where=table.folder, mend="Give another table, or none.")
        views = Views(table.images, encoder.fit, budget, exact=exact)
        return cls(rows, views, batch_size, shown_name(str(table.folder)))

    def __call__(self, encoder: DualEncoder) -> float:
        number_of: dict[str, int] = {}
        image_ID = embed_images(encoder, self._pixels(number_of), batch=self.batch_size)
        rows = [row for row in self.rows if row.image in number_of]
        if not rows:
            what = "no image to validate on can be read"
            raise DataError(what, where=self.rows[0].image, mend="Give another table, or none.")
        text_QD, _ = embed_texts(encoder, [row.caption for row in rows], batch=self.batch_size)
        return mean_recall_at_1(image_ID, text_QD, np.array([number_of[row.image] for row in rows]))

    def _pixels(self, number_of: dict[str, int]) -> Iterator[Pixels]:
        """The whole of each image that can be read; `number_of` gets its number."""
        for row in {row.image: row for row in reversed(self.rows)}.values():
            with suppress(DataError):
                (view,) = self.views(row, [None])
                number_of[row.image] = len(number_of)
                yield view


def mean_recall_at_1(
    image_ID: npt.NDArray[np.float32], text_QD: npt.NDArray[np.float32], image_of_Q: npt.NDArray[np.int64]
) -> float:
    """Mean of both directions' R@1 in percent. Ties count as misses, so that collapsed embeddings score 0."""
    t2i = _share_first(text_QD, image_ID, image_of_Q, np.arange(len(image_ID)))
    i2t = _share_first(image_ID, text_QD, np.arange(len(image_ID)), image_of_Q)
    return 50 * (t2i + i2t)


def _share_first(
    query_QD: npt.NDArray[np.float32],
    item_ID: npt.NDArray[np.float32],
    group_Q: npt.NDArray[np.int64],
    group_I: npt.NDArray[np.int64],
) -> float:
    """The share of queries whose best item of their own group beats every other item, in blocks so that memory is not
    square.
    """
    hits = 0
    for start in range(0, len(query_QD), BLOCK):
        sim_QI = query_QD[start : start + BLOCK] @ item_ID.T
        right_QI = group_Q[start : start + BLOCK, None] == group_I
        best_right_Q = np.where(right_QI, sim_QI, -np.inf).max(axis=1)
        best_wrong_Q = np.where(right_QI, -np.inf, sim_QI).max(axis=1)
        hits += int((best_right_Q > best_wrong_Q).sum())
    return hits / len(query_QD)
