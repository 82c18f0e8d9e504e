'use strict'
// Makes the packages that are published, without publishing them:
//
//   node pack.js PLATFORM OUT    the native half of one platform, OUT/PLATFORM: the package @podway/PLATFORM
//   node pack.js main OUT        the package itself, without native code and without a build at install

const { copyFileSync, cpSync, mkdirSync, readdirSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')

const PLATFORMS = {
  'linux-x64-gnu': { os: ['linux'], cpu: ['x64'], libc: ['glibc'] },
  'linux-arm64-gnu': { os: ['linux'], cpu: ['arm64'], libc: ['glibc'] },
  'darwin-x64': { os: ['darwin'], cpu: ['x64'] },
  'darwin-arm64': { os: ['darwin'], cpu: ['arm64'] },
  'win32-x64-msvc': { os: ['win32'], cpu: ['x64'] }
}

const [what, out] = process.argv.slice(2)
const main = require('./package.json')
if (out === undefined || (what !== 'main' && PLATFORMS[what] === undefined)) {
  console.error(`usage: node pack.js main|${Object.keys(PLATFORMS).join('|')} OUT`)
  process.exit(2)
}
const { version, license, repository, engines } = main
const write = (folder, content) => writeFileSync(join(folder, 'package.json'), JSON.stringify(content, null, 2) + '\n')

if (what === 'main') {
  mkdirSync(out, { recursive: true })
  const names = readdirSync(__dirname).filter((name) => /\.(js|mjs|d\.ts|md)$/.test(name))
  for (const name of names.filter((name) => name !== 'build.js' && name !== 'pack.js')) {
    copyFileSync(join(__dirname, name), join(out, name))
  }
  cpSync(join(__dirname, 'examples'), join(out, 'examples'), { recursive: true })
  const { scripts, ...rest } = main
  const natives = Object.keys(PLATFORMS).map((name) => [`@podway/${name}`, version])
  write(out, { ...rest, optionalDependencies: Object.fromEntries(natives) })
} else {
  const folder = join(out, what)
  mkdirSync(folder, { recursive: true })
  copyFileSync(join(__dirname, 'podway.node'), join(folder, 'podway.node'))
  const description = `podway for Node: the native half on ${what}`
  const files = ['podway.node']
  write(folder, {
    name: `@podway/${what}`, version, description, license, repository, engines, main: 'podway.node', files, ...PLATFORMS[what]
  })
}
