"""The TTP plane: rules, matcher, taggers, stores, worker."""
