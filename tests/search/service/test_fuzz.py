"""The API as its own description tells it, asked by schemathesis: whatever is sent, no answer is a fault of ours, and
each is what the description says."""

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.search.service.conftest import FREE

from fastgoal.search.service.app import OPENAPI, make_app
from fastgoal.search.service.settings import ServiceSettings

schemathesis = pytest.importorskip("schemathesis")
conformance = pytest.importorskip("schemathesis.specs.openapi.checks")
EXAMPLES = 15
WITHOUT_INPUT = {("get", "/api/health"), ("get", "/api/facts")}
WITH_INPUT = {
    ("post", "/api/search"),
    ("post", "/api/search/image"),
    ("get", "/api/like"),
    ("get", "/api/image"),
    ("post", "/api/explain"),
}


@pytest.fixture(scope="module")
def described(searcher):
    return schemathesis.openapi.from_asgi(OPENAPI, make_app(searcher, ServiceSettings(uri="unused", limits=FREE)))


def test_these_are_all_operations(described):
    found = [result.ok() for result in described.get_all_operations()]
    assert {(operation.method, operation.path) for operation in found} == WITHOUT_INPUT | WITH_INPUT


@pytest.mark.parametrize(
    ("mode", "method", "path"),
    [
        *(("POSITIVE", *operation) for operation in sorted(WITHOUT_INPUT | WITH_INPUT)),
        *(("NEGATIVE", *operation) for operation in sorted(WITH_INPUT)),
    ],
)
def test_whatever_is_sent_the_answer_is_as_described(described, method, path, mode):
    kinds = [
        schemathesis.checks.not_a_server_error,
        conformance.status_code_conformance,
        conformance.content_type_conformance,
        conformance.response_schema_conformance,
    ]
    operation = described[path][method]
    statuses = []

    @seed(7)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
    def asked(case):
        answer = case.call()
        statuses.append(answer.status_code)
        case.validate_response(answer, checks=kinds)

    asked()
    assert statuses
    assert max(statuses) < 500
