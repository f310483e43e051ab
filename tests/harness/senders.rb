# Renders a Liquid template with the data of standard input, and with the filters that FireHydrant and Rootly add.
#   ruby senders.rb FILE
require 'json'
require 'liquid'

module Filters
  %i[toJSON to_json].each { |name| define_method(name) { |value| JSON.generate(value) } }
end

Liquid::Template.register_filter(Filters)
template = Liquid::Template.parse(File.read(ARGV[0]), error_mode: :strict)
print template.render!(JSON.parse($stdin.read), strict_filters: true)
