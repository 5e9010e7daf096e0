"""Our own small decoys: canary tokens over HTTP and DNS, mail. Pure cores turn bytes into records; listeners are thin."""
