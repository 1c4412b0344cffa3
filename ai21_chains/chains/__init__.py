"""The ready-made chains: one file each, over any LangChain chat model."""
