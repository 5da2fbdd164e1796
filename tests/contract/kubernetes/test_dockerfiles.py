from __future__ import annotations

import pytest

from tests.contract.kubernetes.dockerfiles import (
    IMAGES,
    OWN_IMAGES,
    SERVING_IMAGES,
    TENSORFLOW,
    check_dockerfile,
    check_dockerfiles,
    extras,
    instructions,
    optional_dependencies,
    read_instructions,
    requirements,
)

_TEXT = (IMAGES / "gateway.Dockerfile").read_text(encoding="utf-8")


def test_our_images_have_no_problem() -> None:
    assert list(check_dockerfiles()) == []


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("USER 10001:10001", "USER root", "USER"),
        ("USER 10001:10001", "USER twostage", "USER"),
        ("USER 10001:10001", "", "USER"),
        ('CMD ["python", "-m", "gateway"]', "CMD python -m gateway", "CMD"),
        ("FROM ${PYTHON_IMAGE}\n", "FROM python:3.11-slim\n", "FROM"),
        ("org.opencontainers.image.", "org.example.", "LABEL"),
        ("COPY twostage twostage", "ADD twostage twostage", "ADD"),
    ],
)
def test_a_broken_rule_is_named(old: str, new: str, word: str) -> None:
    assert old in _TEXT

    problems = list(check_dockerfile("gateway", read_instructions(_TEXT.replace(old, new))))

    assert [problem.message.split(":")[0] for problem in problems] == [word]


def test_the_extras_of_an_image_are_read_through_its_arguments() -> None:
    found = read_instructions('ARG EXTRAS=gateway,http\nRUN pip install ".[${EXTRAS}]" && \\\n  pip check\n')

    assert found[1] == ("RUN", 'pip install ".[${EXTRAS}]" &&    pip check')
    assert extras(found) == {"gateway", "http"}


def test_each_image_installs_its_own_extra() -> None:
    for image in OWN_IMAGES:
        name = image.removeprefix("twostage/")
        own = {"gateway", "retrieval", "ranking", "training", "load"}

        assert extras(list(instructions(image))) & own == {name}


def test_serving_extras_bring_no_tensorflow_and_training_does() -> None:
    """The second half shows that it would be seen."""
    for image in SERVING_IMAGES:
        assert not requirements(extras(list(instructions(image)))) & TENSORFLOW
    assert requirements({"training"}) >= {"tensorflow", "keras", "numpy"}
    assert set(optional_dependencies()) >= {"gateway", "retrieval", "ranking", "training"}
