output "id" {
  description = "The API."
  value       = aws_api_gateway_rest_api.this.id
}

output "name" {
  description = "The API's name, for metrics."
  value       = aws_api_gateway_rest_api.this.name
}

output "execution_arn" {
  description = "The API, as execute-api names it."
  value       = aws_api_gateway_rest_api.this.execution_arn
}

output "stage_name" {
  description = "The stage."
  value       = aws_api_gateway_stage.this.stage_name
}

output "url" {
  description = "The API's address, inside the VPC."
  value       = aws_api_gateway_stage.this.invoke_url
}

output "access_log_group_name" {
  description = "The access log."
  value       = aws_cloudwatch_log_group.access.name
}
