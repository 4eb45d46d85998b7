"""The forms of the providers' answers, for the fault server."""

from llmwatch.faults.shapes.choice import NAMES, SHAPES, for_path
from llmwatch.faults.shapes.shape import Shape

__all__ = ["NAMES", "SHAPES", "Shape", "for_path"]
