"""The small web that ships with the package: pages, pictures, tasks, teacher."""
