"""Pages of ``docs/`` that are made from the code: ``python -m tests.docs.make`` writes them, a test says whether they are fresh."""
