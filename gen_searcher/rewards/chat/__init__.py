"""Judges that ask a vision-language model over OpenAI-compatible chat completions, hosted or one's own vLLM."""
