// A page of which a part could not be loaded, for the service was just restarting, begins anew.
setTimeout(() => {
  if (!document.body || document.body.dataset.screen === "boot") location.reload();
}, 15000);
