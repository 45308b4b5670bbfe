"""`trace_llm`: calls of language models, by the ``gen_ai.*`` conventions."""
