"""Which generations a process holds: following the store's CURRENT, refusing what is bad, naming models' versions."""
