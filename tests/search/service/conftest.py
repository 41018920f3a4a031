"""A real index of drawn scenes with the bundled model, and its service behind a test client."""

import pytest
from starlette.testclient import TestClient

from fastgoal.captioning.pictures import open_pictures
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions.fixed import FixedRegions
from fastgoal.search.build import IndexSettings
from fastgoal.search.build import index as build_index
from fastgoal.search.searcher import Searcher
from fastgoal.search.service.app import make_app
from fastgoal.search.service.settings import LOOPBACK_NAMES, Limits, ServiceSettings

IMAGES = 30
FREE = Limits(rate=0)


@pytest.fixture(scope="session")
def encoder():
    return DualEncoder.load("tiny")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "scenes"
    write_scenes(folder, ScenesConfig(train=0, val=0, test=IMAGES), progress=False)
    return folder / "test"


@pytest.fixture(scope="session")
def index_folder(scenes, encoder):
    folder = scenes.parents[1] / "scenes.index"
    pictures = open_pictures(scenes, captions=True)
    settings = IndexSettings(regions="fixed", duplicates=None)
    build_index(pictures, encoder, folder, settings, proposer=FixedRegions(), progress=False)
    return folder


@pytest.fixture(scope="session")
def searcher(index_folder, encoder):
    return Searcher.open(index_folder, encoder)


@pytest.fixture(scope="session")
def records(searcher):
    return searcher.sample(IMAGES)


@pytest.fixture
def make_client(searcher):
    """A client of a service with such settings; errors of the service are answers, as they are on a socket."""
    opened = []

    def make(**settings):
        given = {"uri": "unused", "hosts": LOOPBACK_NAMES, "limits": FREE, **settings}
        app = make_app(searcher, ServiceSettings(**given))
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client):
    return make_client()
