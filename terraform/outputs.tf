output "repository_url" {
  description = "Where the image is pushed: make push REPOSITORY=..."
  value       = module.service.repository_url
}

output "api_url" {
  description = "The API's address, for callers in the VPC."
  value       = module.api.url
}

output "api_endpoint_dns_name" {
  description = "The endpoint's own name: where api_private_dns is false, call it with the header x-apigw-api-id."
  value       = module.endpoints.api_endpoint_dns_name
}

output "api_id" {
  description = "The API."
  value       = module.api.id
}

output "vpc_id" {
  description = "The VPC, to peer it or to attach it."
  value       = module.network.vpc_id
}

output "private_route_table_ids" {
  description = "The private subnets' route tables."
  value       = module.network.private_route_table_ids
}

output "nat_addresses" {
  description = "Public addresses that relays see in mode nat; they may ask for them."
  value       = module.network.nat_addresses
}

output "table_names" {
  description = "The tables."
  value       = module.data.table_names
}

output "metrics_dns_name" {
  description = "For Prometheus's dns_sd_configs, type A: every task's address, and the port."
  value       = module.service.metrics_dns_name
}

output "api_tokens_secret_name" {
  description = "The secret with the hashes of API tokens, a line each as `server token` prints them; null where auth has no token."
  value       = module.service.api_tokens_secret_name
}

output "alarm_topic_arn" {
  description = "Where alarms are published."
  value       = module.observability.topic_arn
}

output "dashboard_name" {
  description = "The CloudWatch dashboard."
  value       = module.observability.dashboard_name
}

output "client_session" {
  description = "A shell on the client."
  value       = var.create_client ? "aws ssm start-session --region ${var.region} --target ${module.client[0].instance_id}" : null
}

output "doctor" {
  description = "Runs `server doctor` where the tasks are, as one more task; the log group has its answer. null while image_tag is empty."
  value       = module.service.doctor
}

output "curl" {
  description = "Try it from the client, or from any machine that api_client_cidrs names."
  value = join(" ", compact([
    "curl -i",
    var.api_authorization == "AWS_IAM" ? "--aws-sigv4 aws:amz:${var.region}:execute-api --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" -H \"X-Amz-Security-Token: $AWS_SESSION_TOKEN\"" : "",
    var.api_private_dns ? "" : "-H 'x-apigw-api-id: ${module.api.id}'",
    var.api_private_dns ? "${module.api.url}/contacts" : "https://${module.endpoints.api_endpoint_dns_name}/${var.stage_name}/contacts",
  ]))
}
