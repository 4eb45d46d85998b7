"""Whole streams of many providers and servers, healthy and failed, played to every way into llmwatch."""
