"""Tests of what users test their programs with."""
