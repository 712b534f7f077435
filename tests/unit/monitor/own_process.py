"""Memory is measured in a process of its own: what earlier tests have left behind would count, too."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")


def alone(measure: Callable[[], T]) -> T:
    """What is measured in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(measure).result()
