"""Train vision-language agents that search the web before a frozen generator draws."""

__version__ = "0.1.0"
