"""One file for each way to reach a language model; only these files import openai and litellm."""
