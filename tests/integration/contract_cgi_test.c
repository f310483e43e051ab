/* The HTTP contract, row by row, as plain CGI. */
#include "harness/contract.h"

int main(void)
{
    return contract_as_cgi() == 0 ? 0 : 1;
}
