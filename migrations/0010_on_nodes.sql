-- On which nodes a step may be, for who looks for room: {"nodeSelector": {…}, "tolerations": […]} as it says them; '' = it says nothing.
ALTER TABLE queue_work ADD COLUMN on_nodes text NOT NULL DEFAULT '';
