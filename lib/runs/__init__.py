"""Running a table: its parameters, the keys of its results, the engine that fills it, the workers, and how it stands."""
