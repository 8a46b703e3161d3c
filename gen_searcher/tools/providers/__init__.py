"""Where pages and pictures come from; `conf/search/` names a class in here or in somebody's own package."""
