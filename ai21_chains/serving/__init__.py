"""Serving: LangServe routes and an OpenAI-compatible endpoint."""
