'use strict'
// The native half: a file beside this one where the package was built here, else the package of this platform.

const { existsSync } = require('node:fs')
const { join } = require('node:path')

const built = join(__dirname, 'podway.node')

/** `linux-x64-gnu`, `darwin-arm64`, `win32-x64-msvc`, … */
function platform() {
  const { platform, arch } = process
  if (platform === 'linux') {
    const glibc = process.report?.getReport().header.glibcVersionRuntime
    return `linux-${arch}-${glibc ? 'gnu' : 'musl'}`
  }
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`
}

function load() {
  if (existsSync(built)) {
    return require(built)
  }
  const name = `@podway/${platform()}`
  try {
    return require(name)
  } catch (cause) {
    throw new Error(`podway: neither ${built} nor the package ${name} can be loaded`, { cause })
  }
}

module.exports = load()
