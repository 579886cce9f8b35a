// Opened from a folder, without a server, a browser starts no workers and reads no sitemap. The search then runs in a
// hidden frame. mkdocs-material looks for a parent with this name; its plugin would load such a script from elsewhere.
if (location.protocol === "file:") {
  window.IFrameWorker = class IFrameWorker extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      const load = address =>
        new Promise((done, failed) => {
          const script = frame.contentDocument.createElement("script")
          Object.assign(script, { src: address, onload: done, onerror: failed })
          frame.contentDocument.body.append(script)
        })
      this.inside.importScripts = (...addresses) =>
        addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve())
      this.inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      this.loaded = load(new URL(url, document.baseURI).href)
      this.frame = frame
    }

    postMessage(data) {
      this.loaded.then(() => this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
  window.Worker = window.IFrameWorker

  const open = XMLHttpRequest.prototype.open
  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    const asked = String(url).endsWith("/sitemap.xml") ? "data:text/xml,<urlset/>" : url
    return open.call(this, method, asked, ...rest)
  }
}
