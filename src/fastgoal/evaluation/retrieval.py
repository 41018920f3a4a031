"""Retrieval: every caption finds its image, every image one of its captions.

Recall@k both ways over the whole test set. Relevance goes by image: several captions of one image are all right for it
(and each is a query of its own), while equal captions of two images are right for their own only, and then tie, which
counts against the model.

Shapes: Q captions, N distinct images, D joint dimensions.
"""

import time

import numpy as np
import numpy.typing as npt

from fastgoal.data.source import Source
from fastgoal.embed import embed_images, embed_texts
from fastgoal.evaluation.metrics import Embeddings, first_relevant_rank, recall_at
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol
from fastgoal.evaluation.results import EvalResult, Queries, make_result
from fastgoal.evaluation.views import ViewSet
from fastgoal.models.retriever import Retriever


def evaluate_retrieval(
    encoder: Retriever,
    source: Source,
    *,
    protocol: Protocol = PROTOCOLS["long-retrieval"],
    views: ViewSet | None = None,
    batch: int = 64,
    seed: int = 0,
) -> EvalResult:
    """Recall@k of text to image and image to text.

    Args:
        views: `ViewSet.of(source, encoder.fit)`, to decode once for several models; None decodes now and keeps nothing.
        batch: images (and four times as many texts) embedded at once.
        seed: of the bootstrap.

    Raises:
        DataError: an unreadable image, or not the number of items that the protocol pins.
        ConfigError: a model, protocol or view set that do not fit together.
    """
    begin = time.perf_counter()
    protocol.expect("retrieval", encoder)
    images = list(dict.fromkeys(sample.image for sample in source))
    protocol.expect_items(len(images))
    views = ViewSet.of(source, encoder.fit, keep=False) if views is None else views
    views.check([(image, None) for image in images], encoder)
    image_ND = embed_images(encoder, views, batch=batch)
    text_QD, truncated_Q = embed_texts(encoder, [sample.caption for sample in source], batch=4 * batch)
    ids_Q, image_Q, image_N = np.array([s.id for s in source]), np.array([s.image for s in source]), np.array(images)
    return make_result(
        encoder,
        protocol,
        {
            "t2i": _recalls(text_QD, image_ND, image_Q, image_N, ids_Q, protocol.ks),
            "i2t": _recalls(image_ND, text_QD, image_N, image_Q, image_N, protocol.ks),
        },
        items=len(images),
        truncated_share=float(truncated_Q.mean()),
        seconds=time.perf_counter() - begin,
        seed=seed,
        counts={"images": len(images), "captions": len(source)},
    )


def _recalls(
    query_QD: Embeddings,
    item_ND: Embeddings,
    image_Q: npt.NDArray[np.str_],
    image_N: npt.NDArray[np.str_],
    id_Q: npt.NDArray[np.str_],
    ks: tuple[int, ...],
) -> Queries:
    rank_Q = first_relevant_rank(query_QD, item_ND, image_Q, image_N)
    values = {f"R@{k}": recall_at(rank_Q, k) for k in ks}
    return Queries(id_Q=id_Q, image_Q=image_Q, rank_Q=rank_Q, values=values)
